"""`warpaint page`: a preview in the browser. A process of its own, fed by the daemon only while somebody watches."""
