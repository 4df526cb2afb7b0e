#include "textflag.h"

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
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
