"""What runs the jobs: Ray Tune, or this process; the only room that knows Ray."""
