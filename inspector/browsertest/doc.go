// Package browsertest tests the inspector's page in Chromium.
package browsertest
