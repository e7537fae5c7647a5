module zitadel-actions.dev/devkit/pause

go 1.26.0
