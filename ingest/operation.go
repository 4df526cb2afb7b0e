package ingest

import "strings"

// operations are the words of the contract.
var operations = [...]string{"view", "view_list", "search", "print", "print_list", "export", "export_list", "download", "decrypt",
	"modify", "delete", "send", "api_pull"}

// operationWords map free text to an operation. The first that is found
// counts, so what takes data out comes before what only looks at it. English words are
// found where a word starts.
var operationWords = [...]struct {
	operation string
	words     []string
}{
	{"decrypt", []string{"解密", "明文", "decrypt", "unmask", "plaintext"}},
	{"export", []string{"导出", "匯出", "导表", "export"}},
	{"download", []string{"下载", "下載", "download"}},
	{"print", []string{"打印", "列印", "打单", "print", "reprint"}},
	{"delete", []string{"删除", "刪除", "清除", "移除", "delet", "remov", "eras", "purg"}},
	{"send", []string{"发送", "發送", "推送", "外发", "转发", "传输", "回传", "send", "sent", "push", "transmit", "forward"}},
	{"modify", []string{"修改", "编辑", "編輯", "更新", "变更", "modif", "updat", "edit", "chang"}},
	{"api_pull", []string{"拉取", "接口", "api", "pull", "fetch"}},
	{"search", []string{"查询", "查詢", "搜索", "检索", "查找", "search", "quer", "find", "lookup"}},
	{"view", []string{"查看", "檢視", "浏览", "详情", "打开", "view", "show", "detail", "read", "open", "brows", "get", "display"}},
	{"view_list", []string{"列表", "清单", "list"}},
}

// manyWords make of an operation on one order the one on many.
var manyWords = []string{"列表", "批量", "全部", "清单", "list", "batch", "bulk", "all", "mass"}

// operationOf returns the contract's word for an operation, or "" if none is found in it.
func operationOf(s string) string {
	for _, o := range operations {
		if o == s {
			return o
		}
	}
	for i := range operationWords {
		o := &operationWords[i]
		if !hasAny(s, o.words) {
			continue
		}
		if hasAny(s, manyWords) {
			switch o.operation {
			case "view":
				return "view_list"
			case "print":
				return "print_list"
			case "export":
				return "export_list"
			}
		}
		return o.operation
	}
	return ""
}

// hasAny tells whether one of words is in s: an English one at the start of a word
// ("exportOrders", "re_export"), whatever its case.
func hasAny(s string, words []string) bool {
	for _, w := range words {
		if w[0] >= 0x80 {
			if strings.Contains(s, w) {
				return true
			}
			continue
		}
		for i := 0; i+len(w) <= len(s); i++ {
			if s[i]|0x20 == w[0] && (i == 0 || !isLetter(s[i-1]) || s[i] < 'a' && s[i-1] >= 'a') && strings.EqualFold(s[i:i+len(w)], w) {
				return true
			}
		}
	}
	return false
}
