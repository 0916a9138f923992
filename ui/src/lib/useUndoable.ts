import { useCallback } from 'react';

import { useRollback } from '../api/policies';
import type { ChangeReply } from '../api/types';
import { notifyDone, notifyFailure, notifyUndo } from './notify';
import { titleOf } from './policy';

/** Tells of a policy's change with an Undo that rolls back to the version before. */
export function useUndoable() {
  const { mutateAsync } = useRollback();
  return useCallback(
    (reply: ChangeReply, message: string) => {
      const { policy, previous_version: previous } = reply;
      if (!reply.changed) {
        notifyDone('Nothing to change: it is so already.');
        return;
      }
      if (typeof previous !== 'number') {
        notifyDone(message);
        return;
      }
      notifyUndo(message, () => {
        mutateAsync({
          id: policy.id,
          version: previous,
          comment: `Undo of version ${reply.version}`,
        }).then(
          () => notifyDone(`Undone: ${titleOf(policy)} is as before.`),
          (error: unknown) => notifyFailure(error, 'The change could not be undone'),
        );
      });
    },
    [mutateAsync],
  );
}
