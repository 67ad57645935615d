"""The parts that strategies are made of: proposals, batches with barriers, pools, genetic operators, early stop."""
