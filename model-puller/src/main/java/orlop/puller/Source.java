package orlop.puller;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;
import orlop.puller.Listing.Item;

/** One location in one store. Thread-safe; holds no resource of its own. */
sealed interface Source permits FileSource, Source.Remote {

  /** Where it lies, in words. */
  Place place();

  /**
   * What is there now: one try, bounded in time.
   *
   * @throws PullException {@code NOT_FOUND} where nothing is there, else as the store says
   */
  Listing list() throws PullException, InterruptedException;

  /** A source whose content must be fetched before it can be used. */
  non-sealed interface Remote extends Source {

    /** Equal for equal locations asked with the same named storage; holds no secret. */
    String id();

    /** Equal for equal locations, whoever asks: part of the identity of its content. */
    String contentPlace();

    /** The server and bucket behind it: what is away when it is away. */
    String store();

    /**
     * Reads bytes of exactly the listed version: one try. Whatever was handed to the sink before a
     * failure is good, and a further try may go on behind it.
     *
     * @throws PullException stale where the content has changed since it was listed
     */
    void read(Item item, long offset, long length, Sink sink)
        throws PullException, InterruptedException;

    /** What the item must hash to as far as its listing tells, or null where it does not. */
    @Nullable Checksum listedChecksum(Item item);

    /** What the item must hash to: asks the store. Null where the store does not know either. */
    @Nullable Checksum askedChecksum(Item item) throws PullException, InterruptedException;
  }

  /** Takes bytes in their order. */
  interface Sink {
    void take(ByteBuffer bytes) throws PullException;
  }
}
