"""Pruning a network to a MACs target: criteria, the solver, masks, schedules, structured removal; nothing trains."""
