package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	application "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// question is one line of the judge's input.
type question struct {
	Object *unstructured.Unstructured `json:"object"`
	// An action to run, or none.
	Action string `json:"action"`
}

// answer is the line of output for it.
type answer struct {
	Health  *health.HealthStatus         `json:"health"`
	Actions []application.ResourceAction `json:"actions"`
	// The object as the action left it.
	Patched map[string]any `json:"patched,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// judge says what the scripts of a ConfigMap argocd-cm make of objects, with Argo CD's own interpreter and its limits.
func judge(arguments []string, input io.Reader, output io.Writer) error {
	if len(arguments) != 1 {
		return fmt.Errorf("one argument is needed: a file with the ConfigMap argocd-cm")
	}
	overrides, err := readOverrides(arguments[0])
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		given, err := decide(overrides, asked)
		if err != nil {
			given.Error = err.Error()
		}
		if err := json.NewEncoder(output).Encode(given); err != nil {
			return err
		}
	}
	return lines.Err()
}

func decide(overrides map[string]application.ResourceOverride, asked question) (answer, error) {
	object, vm := asked.Object, lua.VM{ResourceOverrides: overrides}
	var given answer
	var err error
	given.Health, err = health.GetResourceHealth(object, lua.ResourceHealthOverrides(overrides))
	if err != nil {
		return given, err
	}
	scripts, err := vm.GetResourceActionDiscovery(object)
	if err != nil {
		return given, err
	}
	if len(scripts) > 0 {
		given.Actions, err = vm.ExecuteResourceActionDiscovery(object, scripts)
		if err != nil {
			return given, err
		}
	}
	if asked.Action == "" {
		return given, nil
	}
	action, err := vm.GetResourceAction(object, asked.Action)
	if err != nil {
		return given, err
	}
	impacted, err := vm.ExecuteResourceAction(object, action.ActionLua, nil)
	if err == nil && len(impacted) == 1 {
		given.Patched = impacted[0].UnstructuredObj.Object
	}
	return given, err
}

// readOverrides knows the keys resource.customizations.<what>.<group>_<kind>.
func readOverrides(path string) (map[string]application.ResourceOverride, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config corev1.ConfigMap
	if err := yaml.UnmarshalStrict(content, &config); err != nil {
		return nil, err
	}
	overrides := map[string]application.ResourceOverride{}
	for key, value := range config.Data {
		words := strings.SplitN(key, ".", 4)
		if len(words) != 4 || words[0] != "resource" || words[1] != "customizations" {
			return nil, fmt.Errorf("%s customizes no resource", key)
		}
		kind := strings.Replace(words[3], "_", "/", 1)
		override := overrides[kind]
		switch words[2] {
		case "health":
			override.HealthLua = value
		case "actions":
			override.Actions = value
		default:
			return nil, fmt.Errorf("%s is not known here", key)
		}
		overrides[kind] = override
	}
	return overrides, nil
}
