"""Worker processes that do jobs for one owner: the loader and the conversion share them. Never imports TensorFlow."""
