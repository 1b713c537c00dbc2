/* Any bytes as central's configuration file, or (first byte '=') as a --set argument: read or refused with words, never
 * a crash. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "central/config/central_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hear(const struct error *err, void *arg) {
    if (!err->msg[0]) abort();
    ++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[64];
    struct node_config *node = NULL;
    struct error err = {0};
    char set[4096];
    const char *const sets[] = {set};
    struct config_source src = {.default_file = "/nonexistent"};
    if (size && data[0] == '=') {
        size_t len = size - 1 < sizeof set - 1 ? size - 1 : sizeof set - 1;
        memcpy(set, data + 1, len);
        set[len] = '\0';
        src.sets = sets;
        src.n_sets = 1;
    } else {
        if (fd < 0) {
            fd = memfd_create("config", MFD_CLOEXEC);
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        }
        if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size) return 0;
        src.file = path;
    }
    /* Up to the first error, and through all of them: the same verdict, and never a refusal without words. */
    int first = central_config_load(&src, &node, &err);
    if (first == 0) central_config_free(node);
    if (first != 0 && !err.msg[0]) abort();
    size_t told = 0;
    src.each = hear;
    src.arg = &told;
    int all = central_config_load(&src, &node, &err);
    if (all == 0) central_config_free(node);
    if ((all == 0) != (first == 0) || (all != 0) != (told != 0)) abort();
    return 0;
}
