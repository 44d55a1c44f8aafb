"""What other libraries take from Ray's own inside, `ray._private`, and what minray can mean by it.

Only what programs were seen to use is here; for the rest there is an ImportError or AttributeError.
"""
