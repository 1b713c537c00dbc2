/* entrepot-central: the core datacenter's node. Thread: main. */
#include "central/program.h"
#include "central/warehouse/hosted.h"
#include "common/inventory/store_alone.h"

int main(int argc, char **argv) {
    store_alone_set_guard(&hosted_guard);
    return cli_main(argc, argv, &central_program);
}
