package ui

import (
	"regexp"
	"strings"
	"testing"
)

// maxSize is how large the page may be in all, in bytes.
const maxSize = 150_000

func TestThePageIsSmall(t *testing.T) {
	total := 0
	for name, f := range files() {
		if name != "/" {
			total += len(f.content)
		}
	}
	t.Logf("the page has %d bytes", total)
	if total >= maxSize {
		t.Errorf("the page has %d bytes, more than %d", total, maxSize)
	}
}

// The browser would refuse these, by the policy of the page, and the test with a browser may not be run.
func TestThePageHasNothingInlineAndNothingForeign(t *testing.T) {
	address := regexp.MustCompile(`(?:https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]{2,}`)
	for name, f := range files() {
		text := string(f.content)
		for _, a := range address.FindAllString(text, -1) {
			if a != "http://www.w3.org" { // the name of SVG
				t.Errorf("%s names %s", name, a)
			}
		}
		for _, word := range []string{"eval(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"} {
			if strings.Contains(text, word) {
				t.Errorf("%s uses %s", name, word)
			}
		}
		if strings.HasSuffix(name, ".html") {
			for _, re := range []string{`<script[^>]*>[^<]`, `<style`, ` style=`, ` on[a-z]+=`} {
				if m := regexp.MustCompile(re).FindString(text); m != "" {
					t.Errorf("%s has something inline: %s", name, m)
				}
			}
		}
		if f.mediaType == "" {
			t.Errorf("%s has no media type", name)
		}
	}
}
