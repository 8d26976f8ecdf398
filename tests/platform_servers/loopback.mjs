// Imported before a server that listens on every address, so that it listens on loopback only.
import net from "node:net";

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function listenOnLoopback(port, ...rest) {
  return listen.call(this, port, "127.0.0.1", ...rest);
};
