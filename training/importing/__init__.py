"""From a lab's videos and tables to a labelled data set: what `training.import_videos` is made of."""
