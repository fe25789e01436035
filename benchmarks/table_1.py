"""The batches of the paper's Table 1, with which updates are timed."""

BATCH = 64         # trajectories per model update
POLICY_BATCH = 16  # trajectories per policy update
