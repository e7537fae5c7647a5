-- Health of every kind of zitadel-actions.dev. The conditions conform to kstatus: Ready is the summary, Reconciling and
-- Stalled are present only while true, and status.observedGeneration moves with every outcome.
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  -- In both directions: an old True is no success, an old False no failure, and a status restored from a backup neither.
  return { status = "Progressing", message = "Waiting for the operator to see this generation of the spec" }
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" or condition.type == "Ready" then
    conditions[condition.type] = condition
  end
end

local function health(name, condition)
  return { status = name, message = (condition.reason or "") .. ": " .. (condition.message or "") }
end

local ready = conditions.Ready
if ready == nil then
  return { status = "Progressing", message = "Waiting for the condition Ready" }
end
if obj.spec.suspend == true then
  return health("Suspended", ready)
end
if conditions.Stalled ~= nil then
  -- Only a person can help, or ten minutes of retries have not.
  return health("Degraded", conditions.Stalled)
end
if ready.status == "True" and conditions.Reconciling == nil then
  return health("Healthy", ready)
end
-- The operator goes on by itself: a ZITADEL that is down must not fail a sync.
return health("Progressing", conditions.Reconciling or ready)
