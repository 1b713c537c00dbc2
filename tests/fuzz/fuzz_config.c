/* Any bytes as central's configuration file, or (first byte '=') as a --set argument: read or refused with words, never
 * a crash. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "central/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    if (central_config_load(&src, &node, &err) == 0) {
        central_config_free(node);
    } else if (!err.msg[0]) {
        abort(); /* a refusal without words */
    }
    return 0;
}
