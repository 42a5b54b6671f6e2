"""How well a model agrees with people, and people with each other: one noun a file, plain functions over plain data.

    comparison            one video: what a person saw beside what was found, on one timeline
    frames, segments, detection, events, agreement, raters, calibration, detector      what can be counted in it
    bootstrap             how sure a number is, when other animals had been filmed
    reference             the reference system's own numbers, for comparison with published ones
    truth, analysis       where comparisons come from: data sets, tables of raters, runs of the driver, networks
    tuning                bout rules and temperature, chosen on validation videos
    document, page        evaluation.json and evaluation.html
    tally                 the few counts that the demo prints

A number that is undefined is None, never 0: recall of a behaviour that never occurred is not bad, it is unknown.
"""
