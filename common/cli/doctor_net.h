/* Two small questions to the network. Thread: main; may block for seconds. */
#ifndef ENTREPOT_CLI_DOCTOR_NET_H
#define ENTREPOT_CLI_DOCTOR_NET_H

#include "common/core/base.h"

/* "HOST", "HOST:PORT", "[V6]:PORT": whether HOST resolves; else the reason. */
bool net_resolves(const char *host_port, char *why, size_t cap);
/* Whether HOST:PORT accepts a TCP connection within 2 s, at any of its addresses. */
bool net_connects(const char *host_port, char *why, size_t cap);

#endif
