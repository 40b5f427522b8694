"""The archive of an experiment: every student that was trained or scored, and the choice among them for a budget.

Nothing here needs pandas, torch or Ray, but for `page`, which draws.
"""
