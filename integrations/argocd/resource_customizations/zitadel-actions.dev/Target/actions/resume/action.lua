-- Removed rather than set to false, so that a Target whose manifest does not name the field has no difference.
obj.spec.suspend = nil
return obj
