package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageVar tells a copy of the program how deep in the namespaces it is.
const stageVar = "TINCAN_LAB_STAGE"

const (
	stageInit    = "init"    // process 1 of the namespaces: mounts, then reaps
	stageProgram = "program" // the program itself
)

// refused is the exit status of the init stage when the kernel did not let it
// set up the namespaces. It has already said why.
const refused = 125

// Entered says whether this process runs inside the private namespaces.
func Entered() bool { return os.Getenv(stageVar) == stageProgram }

// Enter puts the program into private namespaces: it starts the same program
// with the same arguments again inside of them, waits for it and exits with
// its status. So it returns only inside, or with an error that says why the
// kernel refused. It has to be called at the very start of main.
//
// Without root a user namespace is made too, in which the user is root. The
// directories /etc, /var and /run become private copies on a tmpfs (what was in
// /etc and /var stays visible), and the network has nothing but a loopback.
func Enter() error {
	if Entered() {
		return nil
	}
	status, err := again()
	if err != nil {
		return err
	}
	os.Exit(status)
	return nil
}

// Main is [Enter] for TestMain: it runs the tests inside the namespaces and
// exits with their status. Before that, outside, it calls prepare if it is not
// nil; what prepare returns is called at the end.
//
// If the namespaces cannot be made the tests have not been run, so that is a
// failure, unless the variable named by allow is set in the environment; then it
// says loudly that nothing was tested.
func Main(run func() int, allow string, prepare func() (cleanUp func(), err error)) {
	if Entered() {
		os.Exit(run())
	}
	cleanUp := func() {}
	var err error
	if prepare != nil && os.Getenv(stageVar) == "" {
		if cleanUp, err = prepare(); err != nil {
			fmt.Fprintf(os.Stderr, "*** THE TESTS DID NOT RUN: %v\n", err)
			os.Exit(1)
		}
	}
	status, err := again()
	cleanUp()
	if err == nil {
		os.Exit(status)
	}
	fmt.Fprintf(os.Stderr, "*** THE TESTS DID NOT RUN: %v\n", err)
	if os.Getenv(allow) != "" {
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "*** set %s=1 to accept this\n", allow)
	os.Exit(1)
}

// again runs the program again inside new namespaces and returns its status.
func again() (status int, err error) {
	runtime.LockOSThread() // the parent-death signal follows the thread
	defer runtime.UnlockOSThread()
	if os.Getenv(stageVar) == stageInit {
		os.Exit(runInit())
	}

	cmd := copyOfMe(stageInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot make private namespaces: %w\n%s", err, namespaceHint(err))
	}
	if status = follow(cmd); status == refused {
		return 0, errors.New("cannot set up private namespaces, for the reason above")
	}
	return status, nil
}

func namespaceHint(err error) string {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) {
		return "hint: this system does not let ordinary users make user namespaces " +
			"(see kernel.unprivileged_userns_clone, user.max_user_namespaces and " +
			"kernel.apparmor_restrict_unprivileged_userns); run it as root, or allow them with sysctl"
	}
	return "hint: the kernel needs CONFIG_USER_NS, CONFIG_NET_NS and CONFIG_PID_NS"
}

func copyOfMe(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// follow waits for a started copy, passing on the signals that ask it to end,
// and returns its exit status.
func follow(cmd *exec.Cmd) int {
	passSignals(cmd.Process.Pid)
	_ = cmd.Wait()
	return exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus))
}

// passSignals hands the signals that ask this process to end on to its copy.
func passSignals(pid int) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			// A terminal sends Ctrl-C to its whole foreground process group, so
			// that the copy has it already.
			if group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); s == syscall.SIGINT && err == nil && group == unix.Getpgrp() {
				continue
			}
			_ = syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
}

func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// runInit is process 1 of the namespaces. It makes the file system private,
// runs the program and reaps whatever is left over by daemons that detach. When it
// returns, the kernel kills all that still runs in the namespaces.
func runInit() int {
	if err := privateFiles(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot set up private namespaces: %v\n%s\n", err, namespaceHint(err))
		return refused
	}
	// Set, not appended: of two equal names the first would count.
	if err := os.Setenv(stageVar, stageProgram); err != nil {
		fmt.Fprintf(os.Stderr, "cannot set %s: %v\n", stageVar, err)
		return refused
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot start %s again: %v\n", os.Args[0], err)
		return refused
	}
	passSignals(pid)
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return refused
		case got == pid:
			return exitStatus(ws)
		}
	}
}
