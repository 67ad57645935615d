"""The routes: state machines that propose jobs and are told their outcomes."""
