"""The building blocks of strategies: proposals, batches with barriers, pools, genetic operators, early stop."""
