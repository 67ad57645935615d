"""How cost is counted and compared, in brief: the same words on every page. docs/method.md has the full account."""

METHOD = (
    "Cost is the device-time allocated: the share of a device times the time it was held, failed and repeated attempts "
    "included, whether the device was busy or not. It splits into productive, overhead and lost. A route’s own network is "
    "charged all that the route spent; a control, and the network of a single pruning method, the jobs that led to it.",
    "Charge policies. “All charged”: a target pays for all that served it, the parent’s pretraining and the shared stage "
    "of the search included. “Parent free”: the pretraining costs nothing, as with a published checkpoint. “Shared ÷ "
    "targets”: what serves all targets is divided by their number.",
    "One {quality}. At each target costs are compared at one validation {quality}, a*: the lower of the two routes’ median "
    "final {qualities}, less the study’s margin. The cost ratio is what a contender had been charged when it first had "
    "it over what pruning had been charged when it first did, with jobs taken one after another, so the number of "
    "devices drops out. What was spent where it was not reached stays in, as a lower bound.",
    "Validation and test. Networks are chosen on the validation split; test {quality} was read once for each network.",
    "Intervals are Student t-intervals over replicates, on logarithms for ratios: 95 %, corrected where several targets, "
    "contenders or looks share that. With one replicate there is none, and no verdict.",
    "Verdict. The cheaper contender where the interval excludes 1 and the ratio is more than 5 % from it; a tie where the "
    "90 % interval is within a factor of 1.25; neither, where a control is {as_good} and cheaper than both; not "
    "comparable, where {qualities} are too far apart or near {guessing}; not reached; otherwise insufficient evidence.",
    "Known limits. Few replicates make wide intervals; networks are chosen on the validation split, which favours the "
    "route with more candidates a little; work of the driver holds no device and is not part of the cost.",
)
