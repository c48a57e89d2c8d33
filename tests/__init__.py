"""The tests of tfresnet."""
