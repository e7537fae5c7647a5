-- Asks for one pass. The operator echoes the value in status.lastHandledReconcileAt.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["zitadel-actions.dev/reconcile-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
