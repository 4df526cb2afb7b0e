#include "textflag.h"

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

// func prefetchAll(list []uintptr)
TEXT ·prefetchAll(SB), NOSPLIT, $0-24
	MOVD list_base+0(FP), R0
	MOVD list_len+8(FP), R1
	ADD R1<<3, R0, R1
	B check
next:
	MOVD (R0), R2
	PRFM (R2), PLDL1KEEP
	ADD $8, R0
check:
	CMP R1, R0
	BLO next
	RET

// func prefetchLines(p unsafe.Pointer, lines uint64)
TEXT ·prefetchLines(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD lines+8(FP), R1
	CBZ R1, done
next:
	RBIT R1, R2
	CLZ R2, R2
	ADD R2<<6, R0, R3
	PRFM (R3), PLDL1KEEP
	SUB $1, R1, R4
	AND R4, R1, R1
	CBNZ R1, next
done:
	RET
