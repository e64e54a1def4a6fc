// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* The programs of vif.bpf.c, for tracing: see trace.h. */

#define TRACING
#include "vif.bpf.c"
