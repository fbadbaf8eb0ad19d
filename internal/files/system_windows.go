package files

import (
	"errors"
	"fmt"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/windows"
)

// systemOnly is what only the system and the administrators may touch, with all that is
// made below it later: it belongs to them, and inherits nothing from above.
const systemOnly = "O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// OwnerError is the error for a directory of the system that somebody else has made:
// whoever owns it can change what is in it, whatever its access rights say.
type OwnerError struct{ Path, Owner string }

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to %s and not to the administrators of this machine", e.Path, e.Owner)
}

// Hint is what the user can do about it.
func (e *OwnerError) Hint() string {
	return fmt.Sprintf("look at what is in it; if it is yours, as an administrator: takeown /a /r /f \"%s\"", e.Path)
}

// CheckSystemDir refuses a directory of the system whose owner is no administrator, with an
// [*OwnerError]. One that is missing, or that we may not look at, is accepted: there is
// nothing in it that could be used.
func CheckSystemDir(path string) error {
	h, err := openDir(path, windows.READ_CONTROL)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer windows.CloseHandle(h)
	return checkOwner(h, path)
}

// CloseSystemDir makes a directory of the system to which only the system itself and the
// administrators have access. One that exists is closed to everybody else unless its
// access rights were chosen by hand; then those are given to all that is in it once more,
// because what was moved here has brought others along.
func CloseSystemDir(path string) error {
	sd, err := windows.SecurityDescriptorFromString(systemOnly)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	sa := windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(sa))
	switch err = windows.CreateDirectory(name, &sa); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrExist):
		if errors.Is(err, windows.ERROR_INVALID_OWNER) || errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD) {
			err = fs.ErrPermission // an administrator without the rights of one
		}
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	h, err := openDir(path, windows.READ_CONTROL|windows.WRITE_DAC)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer windows.CloseHandle(h)
	if err := checkOwner(h, path); err != nil {
		return err
	}
	now, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return &fs.PathError{Op: "read the access rights of", Path: path, Err: err}
	}
	if control, _, err := now.Control(); err == nil && control&windows.SE_DACL_PROTECTED != 0 {
		sd = now
	}
	dacl, _, err := sd.DACL()
	if err == nil {
		err = windows.SetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	}
	if err != nil {
		return &fs.PathError{Op: "set the access rights of", Path: path, Err: err}
	}
	return nil
}

// openDir opens a directory itself, and not what a link of this name leads to.
func openDir(path string, access uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, access|windows.FILE_READ_ATTRIBUTES, share, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return 0, err
	}
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		windows.CloseHandle(h)
		return 0, err
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		windows.CloseHandle(h)
		return 0, errors.New("it is a link, and has to be a directory")
	}
	return h, nil
}

// checkOwner accepts the system, the administrators, and whoever we are.
func checkOwner(h windows.Handle, path string) error {
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return &fs.PathError{Op: "find the owner of", Path: path, Err: err}
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return &fs.PathError{Op: "find the owner of", Path: path, Err: err}
	}
	if owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) {
		return nil
	}
	if user, err := windows.GetCurrentProcessToken().GetTokenUser(); err == nil && owner.Equals(user.User.Sid) {
		return nil
	}
	name := owner.String()
	if account, domain, _, err := owner.LookupAccount(""); err == nil {
		name = domain + `\` + account
	}
	return &OwnerError{path, name}
}
