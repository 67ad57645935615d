"""A study's folder and its files, such as study.yaml and plans; and the loader of plug-ins."""
