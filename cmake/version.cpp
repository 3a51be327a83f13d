// libhone.so is made of the folders' libraries; this is what it has of its own.
extern "C" const char* hone_version();
extern "C" const char* hone_version() { return HONE_VERSION; }
