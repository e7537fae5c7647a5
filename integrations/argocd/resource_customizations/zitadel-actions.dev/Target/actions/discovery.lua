-- A suspended Target makes no call at all, so it can only be resumed.
local suspended = obj.spec.suspend == true
return {
  reconcile = { disabled = suspended, iconClass = "fa fa-fw fa-sync", displayName = "Compare with ZITADEL now" },
  suspend = { disabled = suspended, iconClass = "fa fa-fw fa-pause-circle", displayName = "Suspend" },
  resume = { disabled = not suspended, iconClass = "fa fa-fw fa-play-circle", displayName = "Resume" },
}
