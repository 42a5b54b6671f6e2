"""What `training.import_videos` is made of, in the order in which a table becomes labels.

tables, BORIS, Supervisely -> sources -> LabelRow -> match (which video) -> frames (which frames) -> store
"""
