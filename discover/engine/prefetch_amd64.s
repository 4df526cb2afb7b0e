#include "textflag.h"

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func prefetchAll(list []uintptr)
TEXT ·prefetchAll(SB), NOSPLIT, $0-24
	MOVQ list_base+0(FP), AX
	MOVQ list_len+8(FP), BX
	LEAQ (AX)(BX*8), BX
	JMP check
next:
	MOVQ (AX), CX
	PREFETCHT0 (CX)
	ADDQ $8, AX
check:
	CMPQ AX, BX
	JB next
	RET

// func prefetchLines(p unsafe.Pointer, lines uint64)
TEXT ·prefetchLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ lines+8(FP), BX
	TESTQ BX, BX
	JZ done
next:
	BSFQ BX, CX
	SHLQ $6, CX
	PREFETCHT0 (AX)(CX*1)
	LEAQ -1(BX), DX
	ANDQ DX, BX
	JNZ next
done:
	RET
