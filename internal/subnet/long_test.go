package subnet

import "testing"

// The long forms were written by tinc 1.0.36.
func TestLongFormOfTinc10(t *testing.T) {
	for short, long := range map[string]string{
		"10.77.1.1":         "10.77.1.1/32#10",
		"10.79.3.0/24#20":   "10.79.3.0/24#20",
		"fd79:2::1":         "fd79:2:0:0:0:0:0:1/128#10",
		"::1.2.3.4/128":     "0:0:0:0:0:0:102:304/128#10",
		"02:00:00:00:00:01": "2:0:0:0:0:1#10",
	} {
		s, err := Parse(short)
		if err != nil {
			t.Fatalf("%s: %v", short, err)
		}
		got := string(s.AppendLong(nil))
		if got != long {
			t.Errorf("%s: got %s, want %s", short, got, long)
		}
		if back, err := Parse(got); err != nil || back != s {
			t.Errorf("%s reads as %v, %v; want %v", got, back, err, s)
		}
	}
}
