"""What tests of agentrec and of its plug-ins are made with."""
