"""What a refusal looks like, and configs with one thing changed."""

import copy

DROP = object()


def changed(config, path, value):
    """``config`` with the value at a dotted path set, or removed if the value is DROP."""
    config = copy.deepcopy(config)
    *parents, last = path.split(".")
    inner = config
    for part in parents:
        if inner.get(part) is None:
            inner[part] = {}
        inner = inner[part]
    if value is DROP:
        del inner[last]
    else:
        inner[last] = value
    return config


def assert_refused(result, *says, stdout=""):
    code, out, err = result
    assert code == 2, (code, out, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert "Traceback" not in err
    assert out == stdout
    for part in says:
        assert part in err, (part, err)
