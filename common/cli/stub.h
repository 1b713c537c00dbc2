/* Asks a resolver a question, as the C library of a client does: by UDP, and by TCP if the answer is truncated. What comes
 * back is read by the C library's own parser. Thread: any that may wait. */
#ifndef ENTREPOT_CLI_STUB_H
#define ENTREPOT_CLI_STUB_H

#include "common/core/network.h"

enum { STUB_RECORDS_MAX = 8, STUB_TEXT_MAX = 400 };

struct stub_answer {
    int rcode; /* -1: no answer that belongs to the question */
    struct ip addresses[STUB_RECORDS_MAX];
    size_t n_addresses;
    char text[STUB_TEXT_MAX]; /* the strings of TXT records, a space before each */
};
/* A (1), TXT (16) or AAAA (28) of a name, of the resolver at this address and port. */
void stub_ask(struct stub_answer *a, const struct ip *resolver, unsigned port, const char *name, unsigned type);
/* Pure: reads an answer. False: it does not belong to the question. */
bool stub_read(struct stub_answer *a, const void *message, size_t len, unsigned id, unsigned type);

#endif
