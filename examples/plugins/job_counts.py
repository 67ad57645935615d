"""A figure of your own: every report of a study that names this file has it."""

TITLE = "Jobs by route"


def data(frames):
    """The numbers behind the figure; docs/frames.md lists the frames and their columns."""
    return frames.attempts.groupby("route", as_index=False)["job"].nunique()


def caption(data):
    """How to read it, with n."""
    return f"Jobs of each route; n = {int(data['job'].sum())}."


def draw(data, figure):
    """Draw the numbers on a Matplotlib figure."""
    axes = figure.subplots()
    axes.bar(data["route"], data["job"])
    axes.set_ylabel("jobs")
