package ingest

import (
	"fmt"
	"math/rand/v2"
)

// sampleLine is the i-th event of an ordinary app: about 380 bytes, its id given.
func sampleLine(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	at := 1_750_000_000_000 + int64(i)*7
	switch k := r.IntN(100); {
	case k < 55:
		orders := ""
		for j := range 1 + r.IntN(4) {
			if j > 0 {
				orders += ","
			}
			orders += fmt.Sprintf(`"26%014d"`, r.IntN(1e12))
		}
		return fmt.Appendf(nil, `{"id":"ev-%016x","time":%d,"type":"order.access","actor":"staff%05d","role":"packer","shops":["shop%d"],"ip":"10.%d.%d.%d","device":"dev-%012x","session":"s%016x","url":"/trade/order/list","operation":"print","outcome":"success","orders":[%s],"fields":["name","phone","address"],"encrypted":false,"bytes":%d}`,
			r.Uint64(), at, r.IntN(5000), r.IntN(100), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(1<<40), r.Uint64(), orders, r.IntN(9000))
	case k < 75:
		return fmt.Appendf(nil, `{"id":"ev-%016x","time":%d,"type":"http.request","actor":"staff%05d","ip":"10.%d.%d.%d","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36","session":"s%016x","method":"GET","path":"/trade/order/detail","status":200,"bytes":%d,"latency_ms":%d}`,
			r.Uint64(), at, r.IntN(5000), r.IntN(255), r.IntN(255), r.IntN(255), r.Uint64(), r.IntN(9000), r.IntN(90))
	default:
		return fmt.Appendf(nil, `{"id":"ev-%016x","time":%d,"type":"auth.login","actor":"staff%05d","role":"customer_service","ip":"10.%d.%d.%d","device":"dev-%012x","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36","outcome":"failure","reason":"wrong password","method":"password","mfa":false}`,
			r.Uint64(), at, r.IntN(5000), r.IntN(255), r.IntN(255), r.IntN(255), r.IntN(1<<40))
	}
}

// sampleBody is n events as NDJSON.
func sampleBody(n int) []byte {
	var b []byte
	for i := range n {
		b = append(append(b, sampleLine(i)...), '\n')
	}
	return b
}
