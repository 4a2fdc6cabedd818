//go:build tools

package tools

import _ "carvel.dev/kapp/cmd/kapp"
