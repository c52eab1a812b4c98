/* Leaves a failed connection and a result open.
 * flags: -I/usr/include/postgresql -lpq */
#include <libpq-fe.h>

#include "victim.h"

NAMED static PGconn *opens_connection(void)
{
    return PQconnectdb("host=/nonexistent connect_timeout=2");
}

NAMED static PGresult *makes_result(void)
{
    return PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK);
}

int main(void)
{
    PGconn *kept = opens_connection();

    PQfinish(opens_connection());
    PQclear(makes_result());
    printf("%d %d\n", PQstatus(kept) == CONNECTION_BAD, makes_result() != NULL);
    return 0;
}
