/* A resolver's answer to doctor, from anyone: what is taken is within bounds. The first byte says which type was asked. */
#include "common/cli/stub.h"

#include <assert.h>
#include <string.h>

#include "common/dns/dns_query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct stub_answer a;
    if (size < 3) return 0;
    unsigned type = data[0] & 1 ? DNS_A : DNS_TXT, id = dns_get16(data + 1);
    bool good = stub_read(&a, data + 1, size - 1, id, type);
    assert(a.n_addresses <= STUB_RECORDS_MAX && strlen(a.text) < STUB_TEXT_MAX);
    assert(good == (a.rcode >= 0 && a.rcode <= 15));
    return 0;
}
