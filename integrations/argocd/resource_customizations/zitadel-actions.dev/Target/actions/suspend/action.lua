-- No call to ZITADEL until it is resumed; a deletion waits too.
obj.spec.suspend = true
return obj
