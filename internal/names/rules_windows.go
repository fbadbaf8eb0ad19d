package names

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// SystemRules are those of this system, nil if it has none.
func SystemRules() Rules {
	return policyTable(`SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig`)
}

// policyTable is the name resolution policy table (NRPT) of this machine: a key of the registry with one below it for each rule. Those that a
// domain controller sets are in another place, and come first.
type policyTable string

// Values of a rule, see [MS-GPNRPT].
const (
	policyVersion = 1
	plainDNS      = 8 // ConfigOptions: generic DNS servers
)

func (policyTable) String() string { return "the name resolution policy" }

// rule is the key of the only rule of a domain.
func (t policyTable) rule(domain string) string {
	sum := sha256.Sum256([]byte("tincan " + domain))
	return fmt.Sprintf(`%s\{%x-%x-%x-%x-%x}`, string(t), sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// Set makes the rule. Windows asks no other port than 53.
func (t policyTable) Set(l Link) (err error) {
	if l.Server.Port() != 53 {
		return &hinted{errors.New("Windows asks no other port than 53"), "set NamesPort = 53, if nothing else on this machine takes that port"}
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("the name resolution policy: %w", err)
		}
	}()
	key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, t.rule(l.Domain), registry.ALL_ACCESS)
	if err != nil {
		return err
	}
	defer key.Close()
	names := []string{"." + l.Domain}
	for _, domain := range l.Reverse {
		names = append(names, "."+domain)
	}
	err = errors.Join(
		key.SetStringValue("Comment", kept(l.Domain)),
		key.SetDWordValue("Version", policyVersion),
		key.SetStringsValue("Name", names),
		key.SetStringValue("GenericDNSServers", l.Server.Addr().String()),
		key.SetDWordValue("ConfigOptions", plainDNS),
	)
	if err != nil {
		_ = registry.DeleteKey(registry.LOCAL_MACHINE, t.rule(l.Domain))
		return err
	}
	changedPolicy()
	return nil
}

// Clear removes the rule.
func (t policyTable) Clear(domain string) (found bool, err error) {
	err = registry.DeleteKey(registry.LOCAL_MACHINE, t.rule(domain))
	if errors.Is(err, registry.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the name resolution policy: %w", err)
	}
	changedPolicy()
	return true, nil
}

// changedPolicy tells the DNS client to read its parameters again. If it cannot be told, it reads them when it starts.
func changedPolicy() {
	m, err := mgr.Connect()
	if err != nil {
		return
	}
	defer func() { _ = m.Disconnect() }()
	if s, err := m.OpenService("Dnscache"); err == nil {
		_, _ = s.Control(svc.ParamChange)
		s.Close()
	}
}
