"""The rivals of AFNet: one file a method, the same interface (afnet.contract.VideoModel)."""
