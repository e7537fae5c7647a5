// The parts of Argo CD that synchronise, in one program; the first argument says which part it is. Two parts are ours:
// a Redis made of memory, so that tests need nothing but Go, and a judge that runs the scripts of a ConfigMap on objects.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alicebob/miniredis/v2"
	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/spf13/cobra"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("the first argument must be controller, repo-server, redis or judge")
	}
	part, arguments := arguments[0], arguments[1:]
	switch part {
	case "controller":
		return execute(controller.NewCommand(), arguments)
	case "repo-server":
		return execute(reposerver.NewCommand(), arguments)
	case "redis":
		return redis(arguments)
	case "judge":
		return judge(arguments, os.Stdin, os.Stdout)
	default:
		return fmt.Errorf("%s is none of the parts of Argo CD", part)
	}
}

func execute(command *cobra.Command, arguments []string) error {
	command.SetArgs(arguments)
	return command.Execute()
}

// redis serves on the address that is its one argument until it is told to end.
func redis(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("one argument is needed: the address to listen on")
	}
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(arguments[0]); err != nil {
		return err
	}
	defer server.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	return nil
}
