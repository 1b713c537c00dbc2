/* entrepot-central: the core datacenter's node. Thread: main. */
#include "central/central.h"

int main(int argc, char **argv) {
    return cli_main(argc, argv, &central_program);
}
