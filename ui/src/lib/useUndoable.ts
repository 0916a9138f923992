import { useCallback } from 'react';

import { overtakenBy } from '../api/client';
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
          newest: reply.version,
          version: previous,
          comment: `Undo of version ${reply.version}`,
        }).then(
          () => notifyDone(`Undone: ${titleOf(policy)} is as before.`),
          (error: unknown) => {
            const newest = overtakenBy(error);
            notifyFailure(
              newest === null
                ? error
                : `Version ${newest} was made after it, and would be taken back as well. To do that, roll back to version ${previous} among the policy's versions.`,
              'The change was not undone',
            );
          },
        );
      });
    },
    [mutateAsync],
  );
}
