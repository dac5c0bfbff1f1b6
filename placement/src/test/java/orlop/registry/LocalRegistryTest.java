package orlop.registry;

/** The in-process registry keeps the contract: all clients share one instance. */
class LocalRegistryTest extends RegistryContract {
  private final LocalRegistry shared = new LocalRegistry();

  @Override
  Registry connect() {
    return shared;
  }
}
